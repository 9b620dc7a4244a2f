select DATETRUNC_18 "Month", COUNTDISTINCT_20 "Customers" from (select date_trunc('month', ORDERED_AT::timestamp_ltz) DATETRUNC_18, count(distinct CUSTOMER_ID) COUNTDISTINCT_20 from SHOP.SALES.ORDERS group by DATETRUNC_18) Q1 order by DATETRUNC_18 asc limit 10001

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}