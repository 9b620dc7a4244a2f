select STATUS "TopK Value", COUNT_3 "TopK Count" from (select STATUS, count(1) COUNT_3 from SHOP.SALES.ORDERS where contains(lower(STATUS::text), lower('e')) group by STATUS) Q1 order by STATUS asc limit 201

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}