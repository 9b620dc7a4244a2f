select STATUS "Status", COUNT_2 "Orders" from (select STATUS, count(1) COUNT_2 from (select * from SHOP.SALES.ORDERS ORDERS order by ORDER_ID limit 1000) Q1 group by STATUS) Q2

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}