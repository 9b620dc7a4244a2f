select ID_3 "Id" from ((select ORDER_ID ID_3 from SHOP.SALES.ORDERS ORDERS limit 1000) union all (select CUSTOMER_ID ID_3 from SHOP.SALES.CUSTOMERS CUSTOMERS limit 1000)) Q1 limit 1000

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}